"""From a claimed receipt to a decided study: claim, read, classify, decide, record, settle, sweep."""
