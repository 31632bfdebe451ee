// Ask a mulde server for the tails of one question.
//
// Usage: predict ADDRESS HEAD RELATION K
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"

	pb "example.com/ask/mulde/v1"
)

func main() {
	k, err := strconv.Atoi(os.Args[4])
	if err != nil {
		log.Fatal(err)
	}
	connection, err := grpc.Dial(os.Args[1], grpc.WithInsecure())
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	count := int32(k)
	response, err := pb.NewLinkPredictionServiceClient(connection).PredictTails(ctx, &pb.PredictTailsRequest{
		Heads:     []string{os.Args[2]},
		Relations: []string{os.Args[3]},
		Options:   &pb.PredictOptions{K: &count},
	})
	if err != nil {
		log.Fatal(err)
	}
	answers := response.GetAnswers()
	for _, failed := range answers.GetErrors() {
		log.Fatalf("query %d: %s", failed.GetQuery(), failed.GetStatus().GetMessage())
	}
	for i, id := range answers.GetIds() {
		fmt.Printf("%s\t%.6f\n", id, answers.GetScores()[i])
	}
}
