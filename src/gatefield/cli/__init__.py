"""The command line: parse, call one function, show. Everything heavy is imported where it is used.

`app` registers the commands and is the entry point; `reports`, `chaos`, `phases`, `edge`, `layers`, `training`,
`sweeps` and `figures` have them by subject, `cache` is about compiled code; `options` are those that commands share,
`terminal` what they print.
"""
