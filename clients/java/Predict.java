import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import java.util.Locale;
import java.util.concurrent.TimeUnit;
import mulde.v1.Common.Answers;
import mulde.v1.Common.QueryError;
import mulde.v1.LinkPredictionServiceGrpc;
import mulde.v1.Prediction.PredictOptions;
import mulde.v1.Prediction.PredictTailsRequest;

/** Asks a mulde server for the tails of one question: {@code Predict ADDRESS HEAD RELATION K}. */
public final class Predict {
  public static void main(String[] arguments) throws InterruptedException {
    ManagedChannel channel = ManagedChannelBuilder.forTarget(arguments[0]).usePlaintext().build();
    try {
      PredictTailsRequest request =
          PredictTailsRequest.newBuilder()
              .addHeads(arguments[1])
              .addRelations(arguments[2])
              .setOptions(PredictOptions.newBuilder().setK(Integer.parseInt(arguments[3])))
              .build();
      Answers answers =
          LinkPredictionServiceGrpc.newBlockingStub(channel)
              .withDeadlineAfter(10, TimeUnit.SECONDS)
              .predictTails(request)
              .getAnswers();
      for (QueryError failed : answers.getErrorsList()) {
        throw new IllegalArgumentException(failed.getStatus().getMessage());
      }
      for (int i = 0; i < answers.getIdsCount(); i++) {
        System.out.printf(Locale.ROOT, "%s\t%.6f%n", answers.getIds(i), answers.getScores(i));
      }
    } finally {
      channel.shutdown().awaitTermination(5, TimeUnit.SECONDS);
    }
  }
}
