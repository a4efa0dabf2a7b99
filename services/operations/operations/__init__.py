"""Operations: looks at what the other services hold, and says what does not add up."""
