"""``esl-shield top``: what the processes of a site do now, out of their metrics pages."""
