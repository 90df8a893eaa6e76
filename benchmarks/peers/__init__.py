"""What sfumato is measured against: published algorithms, restated in our own words.

llada           LLaDA's sampler (2502.09992), one row or many
dllm            dLLM's MDLMSampler, rows of different length
fast_dllm       Fast-dLLM's parallel decoding by confidence (2505.22618), without its cache
llada2          diffusers' own LLaDA2Pipeline, made to take turns
causal          transformers' own `generate` with its cache, made to take turns
turns           how the last two are made to
full_canvas     training losses over logits of the whole canvas, as LLaDA and dLLM have them
"""
