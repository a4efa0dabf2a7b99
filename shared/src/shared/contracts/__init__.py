"""Published message types, one module per publisher; only the publisher edits its module.

Names are past tense for facts, imperative for commands, and end in a version. Within a version
a field may be added with a default, never removed or retyped: `tests/contracts` holds that.
Money is an integer in the currency's minor unit (cents). `version` counts the states of one
subject (an order, a product) from 1 upwards: a consumer drops what is older than what it knows.
"""
