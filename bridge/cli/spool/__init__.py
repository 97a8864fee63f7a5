"""Commands about what is stored and how it moves.

They ask the running bridge where there is one, and open the spool themselves where
there is none. What cannot be taken back is said first, and done with ``--apply``.
"""
