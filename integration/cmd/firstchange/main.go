// Command firstchange opens all files of a directory for writing, one after another, and
// prints how long each took: the first change of an image's files, measured inside of a
// container. Package bench/engine puts it into an image.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// warm is the number of files that are opened before the measurement begins.
const warm = 20

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "firstchange:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: firstchange DIRECTORY")
	}
	names, err := filepath.Glob(filepath.Join(args[0], "*"))
	if err != nil || len(names) <= warm {
		return fmt.Errorf("%d files in %s: %w", len(names), args[0], err)
	}
	if err := openAll(names[:warm]); err != nil {
		return err
	}
	began := time.Now()
	if err := openAll(names[warm:]); err != nil {
		return err
	}
	each := time.Since(began) / time.Duration(len(names)-warm)
	fmt.Printf("first change: %.4f ms\n", float64(each)/float64(time.Millisecond))
	return nil
}

func openAll(names []string) error {
	for _, name := range names {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
