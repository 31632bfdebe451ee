"""Why a triple is an answer: paths of known facts, similar known facts, score and prior."""
