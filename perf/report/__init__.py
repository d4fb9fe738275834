"""Tables, pictures and missed goals, made from the result files alone.

``markers`` writes the tables into the pages; ``plots`` draws the pictures.
"""
