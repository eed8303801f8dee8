package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/internal/buildinfo"
)

// pluginName is the file name under which Docker's command line starts the command for
// `docker overlayzfs …`.
const pluginName = "docker-overlayzfs"

// pluginMetadata describes the plugin to Docker's command line, in the names of
// docker/cli's cli-plugins/manager.
type pluginMetadata struct {
	SchemaVersion    string
	Vendor           string
	Version          string
	ShortDescription string
	URL              string
}

// dockerCommand is the command as Docker's command line calls it: docker's flags, the
// plugin's name, and the plugin's arguments.
func dockerCommand(c console) *cobra.Command {
	ours := rootCommand(c)
	docker := &cobra.Command{Use: "docker", SilenceErrors: true, SilenceUsage: true, TraverseChildren: true}
	docker.SetIn(c.in)
	docker.SetOut(c.out)
	docker.SetErr(c.err)
	docker.SetFlagErrorFunc(ours.FlagErrorFunc())
	docker.CompletionOptions.DisableDefaultCmd = true
	client := defineDockerFlags(docker)
	ours.PersistentPreRunE = func(command *cobra.Command, _ []string) error {
		host, err := client.localHost(c.getenv)
		return errors.Join(err, passHost(host, command))
	}
	docker.AddCommand(ours, metadataCommand(c, ours.Short))
	return docker
}

// passHost gives the socket that docker would use to a command that asks dockerd, unless the command has
// one itself.
func passHost(host string, command *cobra.Command) error {
	flag := command.Flags().Lookup("host")
	if host == "" || flag == nil || flag.Changed {
		return nil
	}
	return flag.Value.Set(host)
}

func metadataCommand(c console, short string) *cobra.Command {
	return &cobra.Command{
		Use:    "docker-cli-plugin-metadata",
		Hidden: true,
		Args:   noArgs,
		RunE: func(*cobra.Command, []string) error {
			raw, err := json.Marshal(pluginMetadata{
				SchemaVersion: "0.1.0", Vendor: "overlayzfs", Version: buildinfo.Version(), ShortDescription: short,
				URL: "https://github.com/overlayzfs/overlayzfs",
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.out, string(raw))
			return err
		},
	}
}
