"""Contact forms of WordPress: ready mappings, so that a location only says which plugin it is.

Reading order: `stores` (the mappings, as data), `site`, `entries` (reading), `files`, `parts`,
`act`, `look`, `doctor`; `store` puts them together.
"""
