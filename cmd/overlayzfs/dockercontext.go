package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
)

// defaultContext is the name of the context of flags and environment.
const defaultContext = "default"

// dockerClient has the flags that docker takes before a plugin's name and that say which
// engine it talks to.
type dockerClient struct {
	config  string
	context string
	hosts   []string
	tls     bool
	verify  bool
}

// defineDockerFlags defines the flags that docker takes before a plugin's name.
func defineDockerFlags(docker *cobra.Command) *dockerClient {
	d := &dockerClient{}
	flags := docker.Flags()
	flags.StringVar(&d.config, "config", "", "")
	flags.BoolP("debug", "D", false, "")
	flags.StringP("log-level", "l", "", "")
	flags.StringVarP(&d.context, "context", "c", "", "")
	flags.StringArrayVarP(&d.hosts, "host", "H", nil, "")
	flags.BoolVar(&d.tls, "tls", false, "")
	flags.BoolVar(&d.verify, "tlsverify", false, "")
	for _, name := range []string{"tlscacert", "tlscert", "tlskey"} {
		flags.String(name, "", "")
	}
	return d
}

// localHost returns the socket that docker would talk to, or "" when that is its default. It
// refuses an engine on another machine: the command reads and changes the store of this one.
func (d *dockerClient) localHost(getenv func(string) string) (string, error) {
	for _, host := range d.hosts {
		if !isSocket(host) {
			return "", refuseRemote("--host "+host, "")
		}
	}
	if d.tls || d.verify {
		return "", refuseRemote("--tls", "")
	}
	dir := cmp.Or(d.config, getenv("DOCKER_CONFIG"), filepath.Join(getenv("HOME"), ".docker"))
	name, from := d.contextName(getenv)
	switch n := len(d.hosts); {
	case name == "":
		return currentHost(dir)
	case name != defaultContext:
		return contextHost(dir, name, from)
	case n > 0:
		return d.hosts[n-1], nil
	}
	if host := getenv("DOCKER_HOST"); host != "" && !isSocket(host) {
		return "", refuseRemote("DOCKER_HOST="+host, "")
	}
	return "", nil
}

// contextName returns the context that docker uses and what names it, in docker's order
// (resolveContextName of docker/cli). It returns "" twice when only the configuration file
// can name one.
func (d *dockerClient) contextName(getenv func(string) string) (name, from string) {
	switch {
	case d.context != "":
		return d.context, "--context " + d.context
	case len(d.hosts) > 0:
		return defaultContext, "--host"
	case getenv("DOCKER_HOST") != "":
		return defaultContext, "DOCKER_HOST"
	case getenv("DOCKER_CONTEXT") != "":
		return getenv("DOCKER_CONTEXT"), "DOCKER_CONTEXT=" + getenv("DOCKER_CONTEXT")
	}
	return "", ""
}

// currentHost returns the socket of the context that `docker context use` chose.
func currentHost(dir string) (string, error) {
	var config struct{ CurrentContext string }
	file := filepath.Join(dir, "config.json")
	if err := readClientFile(file, &config); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if config.CurrentContext == "" || config.CurrentContext == defaultContext {
		return "", nil
	}
	return contextHost(dir, config.CurrentContext, fmt.Sprintf("the context %q, which %s makes the current one,", config.CurrentContext, file))
}

// contextHost returns the socket of a context. A context that cannot be read may be on any
// machine.
func contextHost(dir, name, from string) (string, error) {
	var meta struct {
		Endpoints map[string]struct{ Host string }
	}
	err := readClientFile(filepath.Join(dir, "contexts/meta", digest.FromString(name).Encoded(), "meta.json"), &meta)
	host := meta.Endpoints["docker"].Host
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", err
	case err != nil || host == "":
		return "", refuseRemote(from, "")
	case !isSocket(host):
		return "", refuseRemote(from, host)
	}
	return host, nil
}

// readClientFile reads a file of Docker's command line.
func readClientFile(path string, into any) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("find out which engine docker uses: %w", err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return usagef("find out which engine docker uses: %s: %w", path, err)
	}
	return nil
}

func isSocket(host string) bool { return strings.HasPrefix(host, "unix://") }

// refuseRemote is the error of an engine on another machine.
func refuseRemote(from, host string) error {
	if host != "" {
		from += " (" + host + ")"
	}
	return usagef("%s names an engine on another machine; run overlayzfs on that machine, which has the store, or here without docker", from)
}
