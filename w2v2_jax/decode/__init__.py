"""From the logits of a fine-tuned model to text: greedy and beam search, words with times."""
