/* A network with one hidden layer, trained to tell two spirals apart: a training that is no Python, without a library.
   It speaks as docs/training-process.md says.    cc -O2 -o spirals spirals.c -lm */
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST = 1 << 16, MOST = 1024, TRAIN = 800, VALIDATION = 200, TEST = 200, ALL = TRAIN + VALIDATION + TEST };

static double x[ALL][2], in[MOST][3], out[MOST], bias;
static int side[ALL], hidden;
static unsigned long long state;

static double uniform(void) { /* 0 to 1, the same after the same seed (xorshift64*) */
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    return (double)((state * 2685821657736338717ULL) >> 11) / 9007199254740992.0;
}

static void make_points(void) {
    state = 1;
    for (int i = 0; i < ALL; i++) {
        double along = sqrt(uniform()) * 3 * 3.14159265;
        side[i] = i % 2;
        x[i][0] = along / 5 * cos(along + side[i] * 3.14159265) + 0.1 * (uniform() - 0.5);
        x[i][1] = along / 5 * sin(along + side[i] * 3.14159265) + 0.1 * (uniform() - 0.5);
    }
}

/* What follows "name": in a line of JSON as alexsearch writes it. */
static double number(const char *line, const char *name) {
    char key[64];
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *found = strstr(line, key);
    return found ? atof(found + strlen(key)) : 0;
}

static double chance_of(int i, double *units) { /* of side 1; `units` are the hidden layer's */
    double sum = bias;
    for (int h = 0; h < hidden; h++)
        sum += out[h] * (units[h] = tanh(in[h][0] * x[i][0] + in[h][1] * x[i][1] + in[h][2]));
    return 1 / (1 + exp(-sum));
}

static void train_epoch(int points, double lr) {
    double units[MOST];
    for (int step = 0; step < points; step++) {
        int i = (int)(uniform() * points);
        double error = chance_of(i, units) - side[i];
        for (int h = 0; h < hidden; h++) {
            double back = error * out[h] * (1 - units[h] * units[h]);
            out[h] -= lr * error * units[h];
            in[h][0] -= lr * back * x[i][0], in[h][1] -= lr * back * x[i][1], in[h][2] -= lr * back;
        }
        bias -= lr * error;
    }
}

static void report(int epoch, const char *of, int from, int to) {
    double units[MOST], loss = 0;
    int right = 0;
    for (int i = from; i < to; i++) {
        double chance = chance_of(i, units);
        right += (chance > 0.5) == side[i];
        loss -= log((side[i] ? chance : 1 - chance) + 1e-12) / (to - from);
    }
    printf("{\"kind\": \"report\", \"epoch\": %d, \"values\": {\"%s_loss\": %.6f, \"%s_accuracy\": %.6f}}\n", epoch, of,
           loss, of, (double)right / (to - from));
}

static int goes_on(char *line) { /* the verdict; one that comes later than two seconds counts for the next report */
    struct pollfd input = {0, POLLIN, 0};
    if (poll(&input, 1, 2000) == 0)
        return 1;
    if (!fgets(line, LONGEST, stdin))
        exit(0); /* its worker is gone */
    return strstr(line, "\"go\":false") == NULL;
}

static void train(char *line) {
    int epochs = (int)number(line, "epochs"), final = strstr(line, "\"final\":true") != NULL;
    int points = final ? TRAIN + VALIDATION : TRAIN;
    double lr = number(line, "lr");
    hidden = (int)number(line, "hidden");
    state = (unsigned long long)number(line, "seed") + 1;
    for (int h = 0; h < hidden; h++) {
        for (int k = 0; k < 3; k++)
            in[h][k] = 4 * uniform() - 2;
        out[h] = (uniform() - 0.5) / sqrt(hidden);
    }
    bias = 0;
    for (int epoch = 1; epoch <= epochs; epoch++) {
        train_epoch(points, lr);
        if (final)
            report(epoch, "test", TRAIN + VALIDATION, ALL);
        else
            report(epoch, "val", TRAIN, TRAIN + VALIDATION);
        if (!goes_on(line))
            break;
    }
    printf("{\"kind\": \"finished\"}\n");
}

int main(void) {
    static char line[LONGEST];
    setvbuf(stdin, NULL, _IONBF, 0); /* so that poll knows of every line that is not read yet */
    setvbuf(stdout, NULL, _IOLBF, 0);
    make_points();
    printf("{\"kind\": \"ready\", \"versions\": {\"cc\": \"%s\"}}\n", __VERSION__);
    while (fgets(line, LONGEST, stdin))
        if (strstr(line, "\"kind\":\"train\""))
            train(line);
    return 0;
}
