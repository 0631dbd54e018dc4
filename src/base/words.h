/* How near two words are: for messages that ask "did you mean". */
#ifndef BASE_WORDS_H
#define BASE_WORDS_H

/* Edits (insert, delete, replace, swap neighbours) that turn a into b. */
int dn_word_distance(const char *a, const char *b);
/* Is `known` so near to `word` that it may be meant? Smaller is nearer; -1: no. */
int dn_word_near(const char *word, const char *known);

#endif
