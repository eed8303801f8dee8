package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/overlayzfs/overlayzfs/internal/atomicfile"
	"github.com/overlayzfs/overlayzfs/operator/doctor"
	"github.com/overlayzfs/overlayzfs/operator/pluginimage"
)

// imageFlags are those of the commands that make an image of the plugin.
type imageFlags struct {
	output
	dir       string
	layout    string
	plainHTTP bool
	username  string
	password  bool // is read from standard input
}

// pushCommand pushes the plugin to a registry.
func pushCommand(c console) *cobra.Command {
	var f imageFlags
	command := &cobra.Command{
		Use:   "push REGISTRY/NAME[:TAG] [flags]",
		Short: "Push the plugin to a registry, from which hosts install it",
		Long: "Push the plugin to a registry. It is the one of the installed package, of a directory, or of a release's\n" +
			"OCI image layout. No dockerd is needed. The password is the one that `docker login` has written into Docker's\n" +
			"config.json; one that a credential helper keeps is not asked for.\n\n" +
			"An image has one architecture, this program's or the release's: give each its own tag. Hosts install it with\n" +
			"`docker plugin install --alias overlayzfs REGISTRY/NAME:TAG OVERLAYZFS_OPTS=overlayzfs.dataset=POOL/NAME`.",
		Example: "  overlayzfs plugin push docker.io/USER/overlayzfs:0.2.0\n" +
			"  overlayzfs plugin push registry.example.com/overlayzfs:0.2.0-arm64 --layout overlayzfs-plugin_0.2.0_linux_arm64.oci.tar",
		Args: oneArg,
		RunE: func(command *cobra.Command, args []string) error { return f.push(command.Context(), c, args[0]) },
	}
	f.register(command.Flags())
	pluginDirFlag(command, &f.dir)
	valueFlag(command.Flags(), &f.layout, "layout", "", "FILE", "", "push the OCI image layout in a tar, as a release or `overlayzfs plugin pack` makes it")
	command.Flags().BoolVar(&f.plainHTTP, "plain-http", false, "the registry has no TLS")
	valueFlag(command.Flags(), &f.username, "username", "", "NAME", "", "who pushes (default: as `docker login` says)")
	command.Flags().BoolVar(&f.password, "password-stdin", false, "with --username: read the password from standard input")
	return command
}

func (f *imageFlags) push(ctx context.Context, c console, text string) error {
	reference, err := pluginimage.ParseReference(text)
	if err != nil {
		return usageError{err}
	}
	login, err := f.readLogin(c)
	if err != nil {
		return err
	}
	from, err := f.open(ctx)
	if err != nil {
		return err
	}
	end := c.showSpinner("pushing the plugin")
	pushed, err := pluginimage.Push(ctx, from, reference, login, f.plainHTTP)
	end()
	switch {
	case err != nil:
		return err
	case f.json:
		return writeJSON(c.out, pushed)
	}
	return writePushed(c.out, pushed)
}

func writePushed(w io.Writer, pushed pluginimage.Pushed) error {
	_, err := fmt.Fprintf(w, "Pushed %s (%s).\n", pushed.Reference, pushed.Digest)
	return err
}

// packed is a file that `overlayzfs plugin pack` wrote.
type packed struct {
	File   string `json:"file"`
	Digest string `json:"digest"` // of the image's manifest
}

func writePacked(w io.Writer, made packed) error {
	_, err := fmt.Fprintf(w, "Wrote %s (%s).\n", made.File, made.Digest)
	return err
}

// readLogin returns who pushes.
func (f *imageFlags) readLogin(c console) (pluginimage.Login, error) {
	if f.password {
		raw, err := io.ReadAll(io.LimitReader(c.in, maxPassword))
		return pluginimage.Login{Username: f.username, Password: strings.TrimRight(string(raw), "\r\n")}, err
	}
	home := c.getenv("DOCKER_CONFIG")
	if home == "" {
		home = filepath.Join(c.getenv("HOME"), ".docker")
	}
	return pluginimage.Login{File: filepath.Join(home, "config.json")}, nil
}

// maxPassword is the longest password. Tokens are passwords, too.
const maxPassword = 64 << 10

// open opens what the flags name.
func (f *imageFlags) open(ctx context.Context) (pluginimage.Source, error) {
	if f.layout != "" {
		return pluginimage.OpenLayout(ctx, f.layout)
	}
	image, err := f.read()
	if err != nil {
		return nil, err
	}
	return image.Source(), nil
}

// read makes the image of a directory.
func (f *imageFlags) read() (*pluginimage.Image, error) {
	dir := cmp.Or(f.dir, doctor.FindPackagedPlugin(""))
	if dir == "" {
		return nil, usagef("no package has put a plugin into %s; pass --plugin-dir DIR", doctor.PackagedPlugin)
	}
	return pluginimage.Read(dir)
}

// packCommand writes the plugin's image into a file.
func packCommand(c console) *cobra.Command {
	var f imageFlags
	command := &cobra.Command{
		Use:   "pack FILE [flags]",
		Short: "Write the plugin's image into a file, for a registry out of reach",
		Long: "Write the plugin's image as an OCI image layout in a tar. `overlayzfs plugin push --layout` pushes it from\n" +
			"another host, and so do other programs that copy such layouts to registries. The same plugin makes the same\n" +
			"file.",
		Example: "  overlayzfs plugin pack overlayzfs-plugin.oci.tar",
		Args:    oneArg,
		RunE: func(_ *cobra.Command, args []string) error {
			image, err := f.read()
			if err != nil {
				return err
			}
			if err := atomicfile.ReplaceFrom(args[0], image.WriteLayout, atomicfile.Options{Mode: 0o644, Durability: atomicfile.ContentAndName}); err != nil {
				return err
			}
			made := packed{args[0], image.Manifest.Digest.String()}
			if f.json {
				return writeJSON(c.out, made)
			}
			return writePacked(c.out, made)
		},
	}
	f.register(command.Flags())
	pluginDirFlag(command, &f.dir)
	return command
}
