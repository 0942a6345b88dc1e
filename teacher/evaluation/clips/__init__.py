"""Videos and filmstrips of selected episodes."""
