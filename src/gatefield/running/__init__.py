"""A program at work.

`arguments` are checked, `memory` is asked for before it is taken, `progress` is shown, a `background` thread helps out,
`compile_cache` keeps compiled code between runs, `reading` takes arrays from files and says what is wrong with them,
`saving` writes files whole or not at all, `locks` keep other programs out.
"""
