"""The search itself: what it was asked, and which segment comes next."""
