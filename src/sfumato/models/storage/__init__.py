"""What a checkpoint folder holds: transformers' files, `sfumato.json` and the model card."""
