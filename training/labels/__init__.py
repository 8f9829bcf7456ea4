"""Labels made from verdicts, and what verdicts say of the model in service."""
