package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

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
	host, remote := defineDockerFlags(docker)
	ours.PersistentPreRunE = func(command *cobra.Command, _ []string) error {
		return errors.Join(refuseRemote(remote(), c), passHost(host(), command))
	}
	docker.AddCommand(ours, metadataCommand(c, ours.Short))
	return docker
}

// passHost gives docker's --host to a command that asks dockerd, unless the command has
// one itself.
func passHost(host string, command *cobra.Command) error {
	flag := command.Flags().Lookup("host")
	if host == "" || flag == nil || flag.Changed {
		return nil
	}
	return flag.Value.Set(host)
}

// defineDockerFlags defines the flags that docker takes before a plugin's name. host
// returns the socket that they name, and remote the flag that names another machine.
func defineDockerFlags(docker *cobra.Command) (host, remote func() string) {
	flags := docker.Flags()
	flags.String("config", "", "")
	flags.BoolP("debug", "D", false, "")
	flags.StringP("log-level", "l", "", "")
	context := flags.StringP("context", "c", "", "")
	hosts := flags.StringArrayP("host", "H", nil, "")
	tls := flags.Bool("tls", false, "")
	verify := flags.Bool("tlsverify", false, "")
	for _, name := range []string{"tlscacert", "tlscert", "tlskey"} {
		flags.String(name, "", "")
	}
	host = func() string {
		if n := len(*hosts); n > 0 {
			return (*hosts)[n-1]
		}
		return ""
	}
	return host, func() string {
		for _, host := range *hosts {
			if !strings.HasPrefix(host, "unix://") {
				return "--host " + host
			}
		}
		switch {
		case *context != "" && *context != "default":
			return "--context " + *context
		case *tls || *verify:
			return "--tls"
		}
		return ""
	}
}

// refuseRemote refuses flags and variables that name an engine on another machine:
// the command reads and changes the store of this machine.
func refuseRemote(flag string, c console) error {
	if host := c.getenv("DOCKER_HOST"); flag == "" && host != "" && !strings.HasPrefix(host, "unix://") {
		flag = "DOCKER_HOST=" + host
	}
	if context := c.getenv("DOCKER_CONTEXT"); flag == "" && context != "" && context != "default" {
		flag = "DOCKER_CONTEXT=" + context
	}
	if flag != "" {
		return usagef("%s names an engine on another machine; run overlayzfs on that machine, which has the store", flag)
	}
	return nil
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
