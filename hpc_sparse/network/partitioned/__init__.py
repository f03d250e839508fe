"""One network whose neurons are divided over several ranks: what each of them holds, and how its passes go."""
