/* The manual page and the shell completions, generated from the commands' rows. */
#ifndef CLI_MANUAL_H
#define CLI_MANUAL_H

#include <stdio.h>

enum shell { SHELL_NONE = 0, SHELL_BASH, SHELL_ZSH, SHELL_FISH };

void dn_manual_page(FILE *to);
void dn_manual_completion(FILE *to, enum shell shell);

#endif
