// Serves a folder with Go's net/http on a socket that is given to it (descriptor 3), until it is ended.
package main

import (
	"log"
	"net"
	"net/http"
	"os"
)

func main() {
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(listener, http.FileServer(http.Dir(os.Args[1]))))
}
