package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// errNotAgreed is a question that was not answered with yes.
var errNotAgreed = errors.New("not agreed; nothing was changed")

// agree asks a person. Where there is none it fails: silence is no consent.
func agree(ctx context.Context, c console, question string) error {
	if f, ok := c.in.(*os.File); ok && !isTerminal(f) {
		return usagef("there is no terminal to ask on: say --yes")
	}
	fmt.Fprint(c.out, question+" (yes/no) ")
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(c.in).ReadString('\n') // an end is no yes
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		return errors.Join(errNotAgreed, ctx.Err())
	case text := <-answer:
		if text == "yes" || text == "y" {
			return nil
		}
		return errNotAgreed
	}
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
