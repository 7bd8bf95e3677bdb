/*
 * Lists what a directory holds: one line per file with its length in bytes, its CRC-32 and its path, in the order of
 * the names, directories below included.
 *
 * Arguments: the directory (otherwise /input) and the file for the list (otherwise standard output).
 * Rights: PATH_OPEN, FD_READ and FD_READDIR on the directory and everything in it; those of a writer on the list.
 * Exit codes: 0; 1 if the directory cannot be read, 2 if the list cannot be written.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Most entries of one directory, longest path. */
enum { ENTRIES_MAX = 4096, PATH_LEN_MAX = 4096 };

/* CRC-32 of ISO 3309, as in gzip and PNG: polynomial 0xEDB88320, reflected. */
static uint32_t crc32(uint32_t crc, const unsigned char *bytes, size_t len) {
    crc = ~crc;
    for (size_t i = 0; i < len; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
        }
    }
    return ~crc;
}

static int by_name(const void *left, const void *right) {
    const struct dirent *const *a = left;
    const struct dirent *const *b = right;
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int list_file(const char *path, FILE *out) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return 1;
    }
    static unsigned char buffer[65536];
    uint64_t len = 0;
    uint32_t crc = 0;
    size_t count;
    while ((count = fread(buffer, 1, sizeof buffer, file)) > 0) {
        crc = crc32(crc, buffer, count);
        len += count;
    }
    int failed = ferror(file);
    fclose(file);
    if (failed) {
        perror(path);
        return 1;
    }
    return fprintf(out, "%10llu %08lx %s\n", (unsigned long long)len, (unsigned long)crc, path) < 0 ? 2 : 0;
}

static int list_directory(const char *path, FILE *out) {
    DIR *directory = opendir(path);
    if (directory == NULL) {
        perror(path);
        return 1;
    }
    struct dirent **entries = calloc(ENTRIES_MAX, sizeof *entries);
    size_t count = 0;
    int result = entries == NULL ? 1 : 0;
    struct dirent *entry;
    while (result == 0 && (entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        size_t size = sizeof *entry + strlen(entry->d_name) + 1;
        struct dirent *copy = count < ENTRIES_MAX ? malloc(size) : NULL;
        if (copy == NULL) {
            fprintf(stderr, "%s: too many entries\n", path);
            result = 1;
            break;
        }
        memcpy(copy, entry, sizeof *entry);
        strcpy(copy->d_name, entry->d_name);
        entries[count++] = copy;
    }
    closedir(directory);
    if (entries != NULL) {
        qsort(entries, count, sizeof *entries, by_name);
    }
    for (size_t i = 0; i < count; i++) {
        char below[PATH_LEN_MAX];
        int len = snprintf(below, sizeof below, "%s/%s", path, entries[i]->d_name);
        if (result == 0) {
            if (len < 0 || len >= (int)sizeof below) {
                result = 1;
            } else if (entries[i]->d_type == DT_DIR) {
                result = list_directory(below, out);
            } else {
                result = list_file(below, out);
            }
        }
        free(entries[i]);
    }
    free(entries);
    return result;
}

int main(int argc, char **argv) {
    const char *directory = argc > 1 ? argv[1] : "/input";
    FILE *out = argc > 2 ? fopen(argv[2], "w") : stdout;
    if (out == NULL) {
        perror(argv[2]);
        return 2;
    }
    int result = list_directory(directory, out);
    if (fclose(out) != 0 && result == 0) {
        result = 2;
    }
    return result;
}
