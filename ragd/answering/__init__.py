"""Questions to answers: passages to quotes, or to sentences of a language model that are held to those passages."""

from ragd.answering.answerer import Answerer
from ragd.answering.llm import require_client
from ragd.answering.reply import Quote, Reply, Sentence, Source

__all__ = ["Answerer", "Quote", "Reply", "Sentence", "Source", "require_client"]
