// Command treecmp describes directory trees and compares them.
//
//	treecmp describe [-skip PATH]… SOURCE      print a description
//	treecmp compare [flags] SOURCE SOURCE      exit 1 when they differ
//
// A SOURCE is a directory, a description (NAME.json), a tar of a root file
// system, or an archive of `docker save`.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "treecmp:", err)
		code = 2
	}
	os.Exit(code)
}

func run(args []string) (int, error) {
	if len(args) == 0 {
		return 0, errors.New("usage: treecmp describe|compare [flags] SOURCE…")
	}
	flags := flag.NewFlagSet("treecmp "+args[0], flag.ContinueOnError)
	var skip paths
	flags.Var(&skip, "skip", "path to omit, with everything below; may be repeated")
	switch args[0] {
	case "describe":
		if err := flags.Parse(args[1:]); err != nil {
			return 0, err
		}
		return 0, describe(flags.Args(), skip)
	case "compare":
		var o treecmp.Options
		flags.BoolVar(&o.MTimes, "mtimes", false, "compare modification times to the second")
		flags.BoolVar(&o.Links, "links", false, "compare the number of links")
		if err := flags.Parse(args[1:]); err != nil {
			return 0, err
		}
		o.Ignore = skip
		return compare(flags.Args(), o)
	}
	return 0, fmt.Errorf("unknown command %q", args[0])
}

type paths []string

func (p *paths) String() string { return strings.Join(*p, ",") }

func (p *paths) Set(path string) error {
	*p = append(*p, path)
	return nil
}

func describe(args, skip []string) error {
	if len(args) != 1 {
		return errors.New("describe takes one SOURCE")
	}
	tree, err := load(args[0], skip)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	return errors.Join(tree.Write(out), out.Flush())
}

func compare(args []string, o treecmp.Options) (int, error) {
	if len(args) != 2 {
		return 0, errors.New("compare takes two SOURCEs")
	}
	a, err := load(args[0], o.Ignore)
	if err != nil {
		return 0, err
	}
	b, err := load(args[1], o.Ignore)
	if err != nil {
		return 0, err
	}
	differences := treecmp.Compare(a, b, o)
	for _, line := range differences {
		fmt.Println(line)
	}
	return min(len(differences), 1), nil
}

func load(source string, skip []string) (*treecmp.Tree, error) {
	info, err := os.Stat(source)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return treecmp.FromDir(source, skip...)
	}
	if image, err := treecmp.OpenImage(source); err == nil {
		tree, err := image.Tree()
		return tree, errors.Join(err, image.Close())
	}
	f, err := os.Open(source)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if strings.HasSuffix(source, ".json") {
		return treecmp.Read(f)
	}
	return treecmp.FromTar(f)
}
