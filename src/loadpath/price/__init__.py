"""Price: rates, power and money; the cost of what a job used."""
