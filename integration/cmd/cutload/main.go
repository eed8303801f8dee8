// Command cutload is what a machine runs whose power is going to be cut: see
// package powercut, which starts it.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/docker/docker/pkg/reexec"

	"github.com/overlayzfs/overlayzfs/integration/powercut/guest"
)

func main() {
	// moby's driver unpacks in a process of its own, which is this program.
	if reexec.Init() {
		return
	}
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: cutload PORT")
		os.Exit(2)
	}
	if err := guest.Run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "cutload:", err)
		os.Exit(1)
	}
}
