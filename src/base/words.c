#include "base/words.h"

#include <string.h>

#include "base/str.h"

int dn_word_distance(const char *a, const char *b)
{
    enum { ROOM = 80 };
    int rows[3][ROOM + 1];
    size_t m = strlen(a), n = strlen(b);

    if (m > ROOM || n > ROOM)
        return ROOM;
    for (size_t j = 0; j <= n; j++)
        rows[0][j] = (int)j;
    for (size_t i = 1; i <= m; i++) {
        int *row = rows[i % 3], *above = rows[(i + 2) % 3], *higher = rows[(i + 1) % 3];
        row[0] = (int)i;
        for (size_t j = 1; j <= n; j++) {
            int best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && higher[j - 2] + 1 < best)
                best = higher[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[m % 3][n];
}

int dn_word_near(const char *word, const char *known)
{
    size_t size = strlen(word);

    if (size >= 2 && dn_starts_with(known, word))
        return 0;
    int distance = dn_word_distance(word, known);
    int allowed = size <= 3 ? 1 : size <= 6 ? 2 : 3;
    return distance <= allowed && (size_t)distance < strlen(known) ? distance : -1;
}
