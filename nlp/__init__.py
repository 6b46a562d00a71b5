"""Text: tokenizers, vocabularies, word vectors, models and decoding."""
