"""``esl-shield serve``: keeps the roles' processes alive; plain Python without gevent, keys or connections."""
