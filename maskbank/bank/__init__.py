"""The bank file: its layout, its writer and its reader."""
