"""The tabs of the web page, one in each file."""
