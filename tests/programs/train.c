/* A training in C that knows of the conversation only what it needs: score = lr after one epoch, one trial a process.
   cc -o train train.c && echo '{"kind": "train", "config": {"params": {"lr": 0.5}}}' | ./train */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    char line[65536];
    puts("{\"kind\": \"ready\", \"versions\": {\"cc\": \"" __VERSION__ "\"}}");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        const char *lr = strstr(line, "\"lr\":");
        if (!strstr(line, "\"train\"") || !lr)
            continue;
        printf("{\"kind\": \"report\", \"values\": {\"score\": %g}}\n", atof(lr + 5));
        puts("{\"kind\": \"finished\", \"reusable\": false}");
        return 0;
    }
    return 1;
}
