// Command cutload runs in a machine whose power is cut: see package powercut, which starts
// it.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/docker/docker/pkg/reexec"

	"github.com/overlayzfs/overlayzfs/integration/powercut/guest"
)

func main() {
	// moby's driver executes this program again to unpack layers.
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
