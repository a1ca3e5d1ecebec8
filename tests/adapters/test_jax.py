"""Masks in JAX, grain and TensorFlow: arrays that are taken as they are, pipelines that index.

The libraries are imported in a process of their own: JAX warns of forking, and other tests fork.
"""

import importlib.util
import multiprocessing
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import maskbank

pytestmark = pytest.mark.full

NAMES = ("visible", "masked", "ids_keep", "ids_restore")


def needs(library: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(library) is None
    return pytest.mark.skipif(missing, reason=f"{library} is not installed")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> maskbank.Bank:
    path: Path = tmp_path_factory.mktemp("jax") / "white.h5"
    return maskbank.generate(path, maskbank.White(size=(8, 16, 16)), n=20)


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@needs("jax")
def test_jax_takes_the_arrays(bank: maskbank.Bank, elsewhere: ProcessPoolExecutor) -> None:
    elsewhere.submit(jax_takes, maskbank.MaskSampler(bank, (4, 14, 14), 0.9)).result()


def jax_takes(sampler: maskbank.MaskSampler) -> None:
    import jax
    import jax.numpy as jnp

    warnings.simplefilter("error")
    for masks in (sampler(np.arange(32), epoch=3), sampler[5]):
        for name in NAMES:
            array = getattr(masks, name)
            for taken in (jnp.asarray(array), jax.device_put(array), jax.dlpack.from_dlpack(array)):
                assert taken.shape == array.shape
                assert (taken.dtype == bool) == (array.dtype == bool)
                assert np.array_equal(np.asarray(taken), array)
            if array.dtype == bool:  # without x64, JAX makes int32 of int64
                placed = aligned(array)
                alias = jax.dlpack.from_dlpack(placed, copy=False)
                assert alias.unsafe_buffer_pointer() == placed.ctypes.data

    masks = sampler(np.arange(8))

    @jax.jit
    def loss(weights: Any, x: Any, keep: Any, masked: Any, restore: Any) -> Any:
        seen = jnp.take_along_axis(x, keep[:, :, None], 1) @ weights
        hidden = jnp.zeros((*masked.shape, x.shape[-1])).at[:, : seen.shape[1]].set(seen)
        restored = jnp.take_along_axis(hidden, restore[:, :, None], 1)
        return jnp.mean((restored - x) ** 2 * masked[:, :, None]), restored

    x = jnp.asarray(np.random.default_rng(0).normal(size=(*masks.visible.shape, 4)), jnp.float32)
    arrays = (masks.ids_keep, masks.masked, masks.ids_restore)
    (value, restored), gradient = jax.value_and_grad(loss, has_aux=True)(jnp.eye(4), x, *arrays)
    assert np.isfinite(value)
    assert gradient.shape == (4, 4)
    assert np.allclose(np.where(masks.visible[:, :, None], x, 0), restored, atol=1e-5)


def aligned(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same where JAX need not copy: at a multiple of 64 bytes."""
    raw = np.empty(array.nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    placed: np.ndarray[Any, Any] = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    placed[:] = array
    return placed


@needs("grain")
@pytest.mark.parametrize("workers", (0, 2))
def test_a_grain_pipeline_has_the_masks_of_its_indices(
    workers: int, bank: maskbank.Bank, elsewhere: ProcessPoolExecutor
) -> None:
    sampler = maskbank.MaskSampler(bank, (8, 14, 14), 0.9, seed=2)
    seen = elsewhere.submit(grain_batches, sampler, workers).result()
    assert [clip for batch in seen for clip in batch["clip"]] == [*range(40), *range(40)]
    assert len(seen) == 20
    for place, batch in enumerate(seen):
        want = sampler(np.arange(4 * place, 4 * place + 4))  # the second epoch has ids of its own
        assert np.array_equal(batch["masked"], want.masked)
        assert np.array_equal(batch["ids_keep"], want.ids_keep)


def grain_batches(sampler: maskbank.MaskSampler, workers: int) -> list[dict[str, Any]]:
    import grain

    importlib.import_module("absl.flags").FLAGS.mark_as_parsed()  # as absl.app.run does

    def attach(index: int, clip: int) -> dict[str, Any]:
        masks = sampler[index]
        return {"clip": clip, "masked": masks.masked, "ids_keep": masks.ids_keep}

    data = grain.MapDataset.source(range(40)).repeat(2).map_with_index(attach).batch(4).to_iter_dataset()
    if workers:
        data = data.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
    return [{name: np.array(value) for name, value in batch.items()} for batch in data]


@needs("tensorflow")
def test_tensorflow_takes_the_arrays(bank: maskbank.Bank, elsewhere: ProcessPoolExecutor) -> None:
    elsewhere.submit(tensorflow_takes, maskbank.MaskSampler(bank, (8, 14, 14), 0.9)).result()


def tensorflow_takes(sampler: maskbank.MaskSampler) -> None:
    import tensorflow as tf

    warnings.simplefilter("error")
    masks = sampler(np.arange(32))
    for name in NAMES:
        array = getattr(masks, name)
        tensor = tf.convert_to_tensor(array)
        assert tensor.dtype == tf.as_dtype(array.dtype)
        assert np.array_equal(tensor.numpy(), array)
