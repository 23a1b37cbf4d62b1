"""What is known of many sessions together: which there are, which of them are meant, what was noted on them."""
