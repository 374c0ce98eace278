#include <stdio.h>

int main(void) {
    return puts("hello from a package built by vieter") < 0;
}
