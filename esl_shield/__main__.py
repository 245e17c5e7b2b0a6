"""``python -m esl_shield``: the same as the console script ``esl-shield``."""

from esl_shield.cli.main import main

main()
