"""`python -m jaxalias` is the program `jaxalias`."""

from jaxalias.commands.program import main

if __name__ == "__main__":
    main()
