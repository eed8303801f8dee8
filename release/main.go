package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// release describes a release to build.
type release struct {
	source  string    // directory of the sources
	out     string    // directory of the results
	version string    // as programs print it
	commit  string    // of the sources
	time    time.Time // of all files
	arches  []string
	key     string // private key of SSH that signs the checksums, or ""
}

func run(ctx context.Context, args []string, log io.Writer) error {
	r, err := parseFlags(args)
	if err != nil {
		return err
	}
	if err := r.emptyOutput(); err != nil {
		return err
	}
	stage, err := os.MkdirTemp("", "overlayzfs-release-")
	if err != nil {
		return err
	}
	if err := errors.Join(r.build(ctx, stage), os.RemoveAll(stage)); err != nil {
		return err
	}
	text, err := r.writeSums()
	fmt.Fprint(log, text)
	return errors.Join(err, r.sign(text))
}

func parseFlags(args []string) (*release, error) {
	r := &release{}
	var epoch int64
	flags := pflag.NewFlagSet("release", pflag.ContinueOnError)
	flags.StringVar(&r.source, "source", ".", "directory of the sources")
	flags.StringVar(&r.out, "out", "build/release", "directory to fill; what an earlier run left there is removed")
	flags.StringVar(&r.version, "version", "", "version of the release")
	flags.StringVar(&r.commit, "commit", "", "commit of the sources")
	flags.Int64Var(&epoch, "time", 0, "time of all files, in seconds since 1970; that of the commit")
	flags.StringSliceVar(&r.arches, "arch", []string{"amd64", "arm64"}, "architectures")
	flags.StringVar(&r.key, "sign", "", "sign the checksums by this private key of SSH")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected arguments: %s", strings.Join(flags.Args(), " "))
	}
	for name, value := range map[string]string{"version": r.version, "commit": r.commit} {
		if value == "" || strings.ContainsAny(value, "/ \t\n'\"") {
			return nil, fmt.Errorf("--%s is %q; pass a word without spaces, slashes and quotes", name, value)
		}
	}
	r.time = time.Unix(epoch, 0).UTC()
	var bad [2]error
	r.source, bad[0] = filepath.Abs(r.source)
	r.out, bad[1] = filepath.Abs(r.out)
	return r, errors.Join(bad[:]...)
}

// emptyOutput removes what an earlier run left: a file of another version would be
// published with the new ones.
func (r *release) emptyOutput() error {
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	return os.MkdirAll(r.out, 0o755)
}

// build makes all files but the checksums.
func (r *release) build(ctx context.Context, stage string) error {
	help, err := r.buildHelp(ctx, stage)
	if err != nil {
		return err
	}
	linked, err := r.linkedModules(ctx)
	if err != nil {
		return err
	}
	licences := formatLicences(linked)
	var built []program
	for _, arch := range r.arches {
		programs, err := r.compile(ctx, filepath.Join(stage, arch), arch)
		if err != nil {
			return err
		}
		built = append(built, programs...)
		if err := r.packArch(ctx, arch, stage, contents{programs, help, licences}); err != nil {
			return err
		}
	}
	if err := r.writeFile(r.fileName("licenses.txt"), licences); err != nil {
		return err
	}
	return r.writeBill(built, linked)
}

// contents is the material for the archives of an architecture.
type contents struct {
	programs []program
	help     *tree  // manual pages and completions, by shell
	licences []byte // of what is linked
}

func (r *release) packArch(ctx context.Context, arch, stage string, c contents) error {
	plugin, err := r.pluginTree(c)
	if err != nil {
		return err
	}
	if err := r.archive(plugin, r.fileName("linux_"+arch+".tar.gz", "plugin"), ""); err != nil {
		return err
	}
	if err := r.packImage(ctx, plugin, stage, arch); err != nil {
		return err
	}
	archive, err := r.programTree(c)
	if err != nil {
		return err
	}
	if err := r.archive(archive, r.fileName("linux_"+arch+".tar.gz"), "overlayzfs-"+r.version+"/"); err != nil {
		return err
	}
	return r.writePackage(arch, filepath.Join(stage, arch), c, plugin)
}

// fileName returns the name of a published file: overlayzfs[-KIND]_VERSION_WHAT.
func (r *release) fileName(what string, kind ...string) string {
	return strings.Join(append([]string{"overlayzfs"}, kind...), "-") + "_" + r.version + "_" + what
}

func (r *release) writeFile(name string, data []byte) error {
	return os.WriteFile(filepath.Join(r.out, name), data, 0o644)
}
