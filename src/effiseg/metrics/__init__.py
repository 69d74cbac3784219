"""The streamed confusion matrix, the measures that follow from it, and how sure they are."""
