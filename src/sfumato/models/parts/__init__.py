"""Parts of a denoiser: what families differ in, and what runs on selected rows only."""
