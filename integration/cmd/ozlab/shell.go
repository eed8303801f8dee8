package main

import (
	"os"

	"github.com/overlayzfs/overlayzfs/integration/vm"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func shellCommand() *cobra.Command {
	flags := &machineFlags{}
	cmd := &cobra.Command{
		Use:   "shell [flags]",
		Short: "Work in the guest by hand",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("timeout") {
				flags.timeout = 0
			}
			defer keepTerminal()()
			// A session of its own, for Ctrl-C and job control.
			const session = "exec setsid --ctty --wait bash -l </dev/hvc0 >/dev/hvc0 2>&1"
			job := &vm.Job{Command: []string{"sh", "-c", session}}
			flags.env = append(flags.env, "TERM="+os.Getenv("TERM"))
			return flags.run(cmd.Context(), job, true)
		},
	}
	flags.add(cmd.Flags())
	return cmd
}

// keepTerminal returns what puts the terminal back: QEMU makes it raw, and
// does not get to clean up.
func keepTerminal() (restore func()) {
	fd := int(os.Stdin.Fd())
	state, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return func() {}
	}
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, state) }
}
