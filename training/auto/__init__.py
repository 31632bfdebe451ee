"""The automatic recipe: a race of scorer families on valid, then distillation with the winner."""
