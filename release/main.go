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

// release is what is to be built.
type release struct {
	source  string    // the directory of the sources
	out     string    // where everything goes
	version string    // as programs say it
	commit  string    // of the sources
	time    time.Time // of all files
	arches  []string
}

func run(ctx context.Context, args []string, log io.Writer) error {
	r, err := parse(args)
	if err != nil {
		return err
	}
	if err := r.clear(); err != nil {
		return err
	}
	stage, err := os.MkdirTemp("", "overlayzfs-release-")
	if err != nil {
		return err
	}
	if err := errors.Join(r.build(ctx, stage), os.RemoveAll(stage)); err != nil {
		return err
	}
	text, err := r.sums()
	fmt.Fprint(log, text)
	return err
}

func parse(args []string) (*release, error) {
	r := &release{}
	var epoch int64
	flags := pflag.NewFlagSet("release", pflag.ContinueOnError)
	flags.StringVar(&r.source, "source", ".", "directory of the sources")
	flags.StringVar(&r.out, "out", "build/release", "directory to fill; what an earlier run left there is removed")
	flags.StringVar(&r.version, "version", "", "version of the release")
	flags.StringVar(&r.commit, "commit", "", "commit of the sources")
	flags.Int64Var(&epoch, "time", 0, "time of all files, in seconds since 1970; that of the commit")
	flags.StringSliceVar(&r.arches, "arch", []string{"amd64", "arm64"}, "architectures")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected arguments: %s", strings.Join(flags.Args(), " "))
	}
	for name, value := range map[string]string{"version": r.version, "commit": r.commit} {
		if value == "" || strings.ContainsAny(value, "/ \t\n'\"") {
			return nil, fmt.Errorf("--%s %q: want a word", name, value)
		}
	}
	r.time = time.Unix(epoch, 0).UTC()
	var bad [2]error
	r.source, bad[0] = filepath.Abs(r.source)
	r.out, bad[1] = filepath.Abs(r.out)
	return r, errors.Join(bad[:]...)
}

// clear makes room: a file of another version among these would be published
// with them.
func (r *release) clear() error {
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	return os.MkdirAll(r.out, 0o755)
}

// build makes everything but the checksums.
func (r *release) build(ctx context.Context, stage string) error {
	help, err := r.help(ctx, stage)
	if err != nil {
		return err
	}
	linked, err := r.linked(ctx)
	if err != nil {
		return err
	}
	licences := licenceText(linked)
	var built []program
	for _, arch := range r.arches {
		programs, err := r.compile(ctx, filepath.Join(stage, arch), arch)
		if err != nil {
			return err
		}
		built = append(built, programs...)
		if err := r.pack(arch, stage, contents{programs, help, licences}); err != nil {
			return err
		}
	}
	if err := r.write(r.name("licenses.txt"), licences); err != nil {
		return err
	}
	return r.bill(built, linked)
}

// contents is what goes into the archives of an architecture.
type contents struct {
	programs []program
	help     *tree  // manual pages and completions, by shell
	licences []byte // of what is linked
}

func (r *release) pack(arch, stage string, c contents) error {
	plugin, err := r.plugin(c)
	if err != nil {
		return err
	}
	if err := r.archive(plugin, r.name("linux_"+arch+".tar.gz", "plugin"), ""); err != nil {
		return err
	}
	archive, err := r.programs(c)
	if err != nil {
		return err
	}
	if err := r.archive(archive, r.name("linux_"+arch+".tar.gz"), "overlayzfs-"+r.version+"/"); err != nil {
		return err
	}
	return r.deb(arch, filepath.Join(stage, arch), c, plugin)
}

// name is that of a published file: overlayzfs[-KIND]_VERSION_WHAT.
func (r *release) name(what string, kind ...string) string {
	return strings.Join(append([]string{"overlayzfs"}, kind...), "-") + "_" + r.version + "_" + what
}

func (r *release) write(name string, data []byte) error {
	return os.WriteFile(filepath.Join(r.out, name), data, 0o644)
}
