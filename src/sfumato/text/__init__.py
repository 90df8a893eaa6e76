"""Words to ids and back: vocabulary, canvas, dialogue, corpora, templates, batches.

Knows `tokenizers`; never networks and never `transformers`.
"""
