package main

import (
	"errors"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/integration/vm"
	"github.com/spf13/cobra"
)

func runCommand() *cobra.Command {
	flags := &machineFlags{}
	var script string
	cmd := &cobra.Command{
		Use:   "run --script FILE [flags] [args…]",
		Short: "Run a script in the guest",
		RunE: func(cmd *cobra.Command, args []string) error {
			if script == "" {
				return errors.New("--script is missing")
			}
			name := filepath.Base(script)
			job := &vm.Job{
				Command: append([]string{filepath.Join(vm.JobDir, name)}, args...),
				Files:   []vm.File{{Host: script, Guest: name, Executable: true}},
			}
			return flags.run(cmd.Context(), job, false)
		},
	}
	flags.add(cmd.Flags())
	cmd.Flags().StringVar(&script, "script", "", "script to run, as root, in "+vm.JobDir)
	cmd.Flags().SetInterspersed(false)
	return cmd
}
